#include <algorithm>
#include <iostream>
#include <vector>

int n;
std::vector<long long> q;

// Right, but the number of ways doubles with every other stride.
long long quietest(int step, int last) {
    if (step == n) return 0;
    long long least = 4e18;
    for (int k = 1; k <= 3 && step + k <= n; ++k)
        if (k != last) {
            long long rest = quietest(step + k, k);
            if (rest < 4e18) least = std::min(least, q[step + k] + rest);
        }
    return least;
}

int main() {
    std::cin >> n;
    q.resize(n + 1);
    for (int i = 1; i <= n; ++i) std::cin >> q[i];
    std::cout << quietest(0, 0) << '\n';
}
