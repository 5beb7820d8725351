#include <algorithm>
#include <iostream>
#include <vector>

struct Crew {
    int chat, deadline, number;
};

int main() {
    int n;
    std::cin >> n;
    std::vector<Crew> crews(n);
    for (int i = 0; i < n; ++i) {
        std::cin >> crews[i].chat >> crews[i].deadline;
        crews[i].number = i + 1;
    }
    std::sort(crews.begin(), crews.end(),
              [](const Crew& a, const Crew& b) { return a.chat + a.deadline < b.chat + b.deadline; });
    int minute = 0;
    for (const Crew& crew : crews) {
        if (minute > crew.deadline) {
            std::cout << "impossible\n";
            return 0;
        }
        minute += crew.chat;
    }
    for (const Crew& crew : crews) std::cout << crew.number << '\n';
}
