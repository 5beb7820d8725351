#include <algorithm>
#include <iostream>
#include <vector>

int main() {
    std::ios::sync_with_stdio(false);
    std::cin.tie(nullptr);
    int n, k, p;
    std::cin >> n >> k >> p;
    std::vector<int> brightness(n);
    for (int& b : brightness) std::cin >> b;
    int lamp = 0;
    for (int evening = 0; evening < k; ++evening) {
        lamp = std::min_element(brightness.begin(), brightness.end()) - brightness.begin();
        brightness[lamp] += p;
        --brightness[(lamp + n - 1) % n];
        --brightness[(lamp + 1) % n];
    }
    std::cout << lamp + 1 << ' ' << brightness[lamp] << '\n';
}
