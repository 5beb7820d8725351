#include <array>
#include <iostream>
#include <queue>
#include <string>
#include <vector>

int main() {
    int h, w;
    std::cin >> h >> w;
    std::vector<std::string> map(h);
    for (auto& row : map) std::cin >> row;
    std::vector<std::array<int, 3>> when(h * w, {-1, -1, -1});
    std::queue<std::pair<int, int>> queue;
    for (int cell = 0; cell < h * w; ++cell)
        if (map[cell / w][cell % w] == 'S') {
            when[cell][0] = 0;
            queue.push({cell, 0});
        }
    while (!queue.empty()) {
        auto [cell, phase] = queue.front();
        queue.pop();
        int r = cell / w, c = cell % w, next = (phase + 1) % 3;
        if (map[r][c] == 'F') {
            std::cout << when[cell][phase] << '\n';
            return 0;
        }
        for (auto [dr, dc] : {std::pair{-1, 0}, {1, 0}, {0, -1}, {0, 1}}) {
            int nr = r + dr, nc = c + dc;
            if (nr < 0 || nr >= h || nc < 0 || nc >= w) continue;
            char there = map[nr][nc];
            if (there == '#' || (there >= 'A' && there <= 'C' && there - 'A' != next)) continue;
            int& second = when[nr * w + nc][next];
            if (second >= 0) continue;
            second = when[cell][phase] + 1;
            queue.push({nr * w + nc, next});
        }
    }
    std::cout << "stranded\n";
}
