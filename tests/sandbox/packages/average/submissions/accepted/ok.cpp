#include <cstdio>
int main() { int n; if (scanf("%d", &n) != 1) return 1; double s = 0; for (int i = 0; i < n; i++) { int x; if (scanf("%d", &x) != 1) return 1; s += x; } printf("%.9f\n", s / n); }
