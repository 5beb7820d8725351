#include <stdio.h>

static char people[200002];

int main(void) {
    int n, c;
    if (scanf("%d %d %200001s", &n, &c, people) != 3) return 1;
    int passed = 0, crossings = 0;
    char door = 'O';
    while (passed < n) {
        for (int aboard = 0; aboard < c && passed < n && people[passed] == door; ++aboard) ++passed;
        door = door == 'O' ? 'I' : 'O';
        ++crossings;
    }
    printf("%d\n", crossings);
    return 0;
}
