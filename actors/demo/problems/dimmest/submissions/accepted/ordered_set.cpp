#include <iostream>
#include <set>
#include <vector>

int main() {
    std::ios::sync_with_stdio(false);
    std::cin.tie(nullptr);
    int n, k, p;
    std::cin >> n >> k >> p;
    std::vector<int> brightness(n);
    std::set<std::pair<int, int>> lamps;
    for (int i = 0; i < n; ++i) {
        std::cin >> brightness[i];
        lamps.insert({brightness[i], i});
    }
    auto change = [&](int lamp, int by) {
        lamps.erase({brightness[lamp], lamp});
        brightness[lamp] += by;
        lamps.insert({brightness[lamp], lamp});
    };
    int lamp = 0;
    for (int evening = 0; evening < k; ++evening) {
        lamp = lamps.begin()->second;
        change(lamp, p);
        change((lamp + n - 1) % n, -1);
        change((lamp + 1) % n, -1);
    }
    std::cout << lamp + 1 << ' ' << brightness[lamp] << '\n';
}
