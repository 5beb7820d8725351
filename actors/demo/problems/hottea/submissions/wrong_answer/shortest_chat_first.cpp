#include <algorithm>
#include <iostream>
#include <tuple>
#include <vector>

// Short chats first keeps the average wait low, but not every deadline.
int main() {
    int n;
    std::cin >> n;
    std::vector<std::tuple<int, int, int>> crews;
    for (int i = 1; i <= n; ++i) {
        int chat, deadline;
        std::cin >> chat >> deadline;
        crews.emplace_back(chat, deadline, i);
    }
    std::sort(crews.begin(), crews.end());
    int minute = 0;
    for (auto [chat, deadline, number] : crews) {
        if (minute > deadline) {
            std::cout << "impossible\n";
            return 0;
        }
        minute += chat;
    }
    for (auto [chat, deadline, number] : crews) std::cout << number << '\n';
}
