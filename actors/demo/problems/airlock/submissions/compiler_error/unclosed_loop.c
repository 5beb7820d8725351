/* @EXPECTED_RESULTS@: COMPILER-ERROR */
#include <stdio.h>

int main(void) {
    int n, c;
    char people[200001];
    scanf("%d %d %s", &n, &c, people);
    for (int i = 0; i < n; ++i {
        crossings += people[i] == 'I';
    }
    printf("%d\n", crossings);
}
