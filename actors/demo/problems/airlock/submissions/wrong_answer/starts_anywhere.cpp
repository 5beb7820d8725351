#include <iostream>
#include <string>

// The airlock does not start where the first person on the list happens to wait.
int main() {
    int n, c;
    std::string people;
    std::cin >> n >> c >> people;
    char door = people[0];
    int passed = 0, crossings = 0;
    while (passed < n) {
        for (int aboard = 0; aboard < c && passed < n && people[passed] == door; ++aboard) ++passed;
        door = door == 'O' ? 'I' : 'O';
        ++crossings;
    }
    std::cout << crossings << '\n';
}
