#include <stdio.h>

#define LEAVES 262144

static int brightness[LEAVES];
static int winner[2 * LEAVES]; /* a tournament tree: each node knows the dimmest lamp below it */

static int dimmer(int a, int b) { return brightness[b] < brightness[a] ? b : a; }

static void change(int lamp, int by) {
    brightness[lamp] += by;
    for (int node = (lamp + LEAVES) / 2; node >= 1; node /= 2)
        winner[node] = dimmer(winner[2 * node], winner[2 * node + 1]);
}

int main(void) {
    int n, k, p;
    if (scanf("%d %d %d", &n, &k, &p) != 3) return 1;
    for (int i = 0; i < LEAVES; ++i) {
        brightness[i] = 1 << 30;
        winner[LEAVES + i] = i;
    }
    for (int i = 0; i < n; ++i)
        if (scanf("%d", &brightness[i]) != 1) return 1;
    for (int node = LEAVES - 1; node >= 1; --node) winner[node] = dimmer(winner[2 * node], winner[2 * node + 1]);
    int lamp = 0;
    for (int evening = 0; evening < k; ++evening) {
        lamp = winner[1];
        change(lamp, p);
        change((lamp + n - 1) % n, -1);
        change((lamp + 1) % n, -1);
    }
    printf("%d %d\n", lamp + 1, brightness[lamp]);
    return 0;
}
