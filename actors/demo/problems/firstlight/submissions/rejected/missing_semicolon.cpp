#include <iostream>

int main() {
    long long m, t, k
    std::cin >> m >> t >> k;
    std::cout << (k - 1) * (t / m) << '\n';
}
