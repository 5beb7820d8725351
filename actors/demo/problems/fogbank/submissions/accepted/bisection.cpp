#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

// The further the boat leans over, the further it drifts: bisect on z = sin(angle) / speed until the drift is d.
int main() {
    int n, d;
    if (std::scanf("%d %d", &n, &d) != 2) return 1;
    std::vector<long double> h(n), v(n);
    long double fastest = 0;
    for (int i = 0; i < n; ++i) {
        if (std::scanf("%Lf %Lf", &h[i], &v[i]) != 2) return 1;
        fastest = std::max(fastest, v[i]);
    }
    long double low = 0, high = 1 / fastest;
    for (int round = 0; round < 100; ++round) {
        long double z = (low + high) / 2, drift = 0;
        for (int i = 0; i < n; ++i) drift += h[i] * z * v[i] / std::sqrt(1 - z * z * v[i] * v[i]);
        (drift < d ? low : high) = z;
    }
    long double time = low * d;
    for (int i = 0; i < n; ++i) time += h[i] / v[i] * std::sqrt(1 - low * low * v[i] * v[i]);
    std::printf("%.9Lf\n", time);
}
