// What an empty editor begins with, and which file belongs to which language.

const STARTERS = {
  c: `#include <stdio.h>

int main(void) {
    int n;
    if (scanf("%d", &n) != 1) return 1;

    printf("%d\\n", n);
    return 0;
}
`,
  cpp: `#include <iostream>
#include <vector>
using namespace std;

int main() {
    ios::sync_with_stdio(false);
    cin.tie(nullptr);

    int n;
    cin >> n;

    cout << n << '\\n';
}
`,
  python: `import sys


def main():
    data = sys.stdin.read().split()
    print(len(data))


main()
`,
  java: `import java.io.*;
import java.util.*;

public class Main {
    public static void main(String[] args) throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        int n = Integer.parseInt(in.readLine().trim());
        System.out.println(n);
    }
}
`,
  javascript: `const data = require("fs").readFileSync(0, "utf8").split(/\\s+/);

console.log(data.length);
`,
  go: `package main

import (
	"bufio"
	"fmt"
	"os"
)

func main() {
	in := bufio.NewReader(os.Stdin)
	var n int
	fmt.Fscan(in, &n)
	fmt.Println(n)
}
`,
  rust: `use std::io::{self, Read};

fn main() {
    let mut data = String::new();
    io::stdin().read_to_string(&mut data).unwrap();
    println!("{}", data.split_whitespace().count());
}
`,
};

const EXTENSIONS = {
  c: "c",
  h: "c",
  cc: "cpp",
  cpp: "cpp",
  cxx: "cpp",
  py: "python",
  java: "java",
  js: "javascript",
  mjs: "javascript",
  go: "go",
  rs: "rust",
};

export function starter(language) {
  return STARTERS[language] ?? "";
}

/** The language of a file's name, or null. */
export function languageOf(filename) {
  return EXTENSIONS[filename.split(".").pop().toLowerCase()] ?? null;
}
