#include <math.h>
#include <stdio.h>

/* The further the boat leans over, the further it drifts: bisect on z = sin(angle) / speed until the drift is d. */
int main(void) {
    int n, d;
    double h[500], v[500], fastest = 0;
    if (scanf("%d %d", &n, &d) != 2) return 1;
    for (int i = 0; i < n; ++i) {
        if (scanf("%lf %lf", &h[i], &v[i]) != 2) return 1;
        if (v[i] > fastest) fastest = v[i];
    }
    double low = 0, high = 1 / fastest;
    for (int round = 0; round < 60; ++round) {
        double z = (low + high) / 2, drift = 0;
        for (int i = 0; i < n; ++i) drift += h[i] * z * v[i] / sqrt(1 - z * z * v[i] * v[i]);
        if (drift < d) low = z;
        else high = z;
    }
    double seconds = low * d;
    for (int i = 0; i < n; ++i) seconds += h[i] / v[i] * sqrt(1 - low * low * v[i] * v[i]);
    printf("%.9f\n", seconds);
    return 0;
}
