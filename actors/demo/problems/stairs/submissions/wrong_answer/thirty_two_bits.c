#include <stdio.h>

#define NEVER 2000000000

static int best[30001][4];

/* The sum does not fit into an int. */
int main(void) {
    int n;
    if (scanf("%d", &n) != 1) return 1;
    for (int i = 0; i <= n; ++i)
        for (int k = 0; k <= 3; ++k) best[i][k] = NEVER;
    best[0][0] = 0;
    for (int i = 1; i <= n; ++i) {
        int q;
        if (scanf("%d", &q) != 1) return 1;
        for (int k = 1; k <= 3 && k <= i; ++k)
            for (int other = 0; other <= 3; ++other)
                if (other != k && best[i - k][other] != NEVER && best[i - k][other] + q < best[i][k])
                    best[i][k] = best[i - k][other] + q;
    }
    int quietest = NEVER;
    for (int k = 1; k <= 3; ++k)
        if (best[n][k] < quietest) quietest = best[n][k];
    printf("%d\n", quietest);
    return 0;
}
