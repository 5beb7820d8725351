#include <iostream>
#include <queue>
#include <string>
#include <vector>

// Lets Bosun wait on a deck until the bridge beside it is solid. He would never.
int main() {
    int h, w;
    std::cin >> h >> w;
    std::vector<std::string> map(h);
    for (auto& row : map) std::cin >> row;
    std::vector<int> best(h * w, 1 << 30);
    using Entry = std::pair<int, int>;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<Entry>> queue;
    for (int cell = 0; cell < h * w; ++cell)
        if (map[cell / w][cell % w] == 'S') {
            best[cell] = 0;
            queue.push({0, cell});
        }
    while (!queue.empty()) {
        auto [second, cell] = queue.top();
        queue.pop();
        int r = cell / w, c = cell % w;
        if (second > best[cell]) continue;
        if (map[r][c] == 'F') {
            std::cout << second << '\n';
            return 0;
        }
        bool bridge = map[r][c] >= 'A' && map[r][c] <= 'C';
        for (auto [dr, dc] : {std::pair{-1, 0}, {1, 0}, {0, -1}, {0, 1}}) {
            int nr = r + dr, nc = c + dc, then = second + 1;
            if (nr < 0 || nr >= h || nc < 0 || nc >= w || map[nr][nc] == '#') continue;
            if (map[nr][nc] >= 'A' && map[nr][nc] <= 'C') {
                if (bridge && then % 3 != map[nr][nc] - 'A') continue;
                while (then % 3 != map[nr][nc] - 'A') ++then;
            }
            if (then < best[nr * w + nc]) {
                best[nr * w + nc] = then;
                queue.push({then, nr * w + nc});
            }
        }
    }
    std::cout << "stranded\n";
}
