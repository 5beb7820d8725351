#include <algorithm>
#include <iostream>
#include <vector>

int main() {
    int n;
    std::cin >> n;
    const long long never = 4e18;
    std::vector<std::vector<long long>> best(n + 1, std::vector<long long>(4, never));
    best[0][0] = 0;
    for (int i = 1; i <= n; ++i) {
        long long q;
        std::cin >> q;
        for (int k = 1; k <= std::min(i, 3); ++k)
            for (int other = 0; other <= 3; ++other)
                if (other != k && best[i - k][other] != never)
                    best[i][k] = std::min(best[i][k], best[i - k][other] + q);
    }
    std::cout << *std::min_element(best[n].begin(), best[n].end()) << '\n';
}
