#include <iostream>
#include <string>

// A run of k people at one door needs ceil(k / c) trips with an empty one between any two of them.
int main() {
    int n, c;
    std::string people;
    std::cin >> n >> c >> people;
    char door = 'O';
    long long crossings = 0;
    for (int start = 0; start < n;) {
        int end = start;
        while (end < n && people[end] == people[start]) ++end;
        if (people[start] != door) ++crossings;
        crossings += 2LL * ((end - start + c - 1) / c) - 1;
        door = people[start] == 'O' ? 'I' : 'O';
        start = end;
    }
    std::cout << crossings << '\n';
}
