#include <stdio.h>

int main(void) {
    long long m, t, k;
    if (scanf("%lld %lld %lld", &m, &t, &k) != 3) return 1;
    printf("%lld\n", (k - 1) * (t / m));
    return 0;
}
