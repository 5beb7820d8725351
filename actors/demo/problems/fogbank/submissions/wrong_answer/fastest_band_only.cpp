#include <cmath>
#include <cstdio>

// Goes straight across every band but the fastest, and makes all the way along the bands in that one.
int main() {
    int n, d;
    if (std::scanf("%d %d", &n, &d) != 2) return 1;
    double across = 0, fastest = 0, thickness = 0;
    for (int i = 0; i < n; ++i) {
        double h, v;
        if (std::scanf("%lf %lf", &h, &v) != 2) return 1;
        across += h / v;
        if (v > fastest) fastest = v, thickness = h;
    }
    std::printf("%.9f\n", across - thickness / fastest + std::hypot(thickness, d) / fastest);
}
