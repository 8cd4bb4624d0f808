import type { RandomSource } from "../src/random.ts";

/** The expected cost over all random choices, by trying every one of them. */
export function expectation(run: (random: RandomSource) => number): number {
  const choices: number[] = [];
  const sizes: number[] = [];
  let expected = 0;
  for (;;) {
    let used = 0;
    const cost = run({
      below: (count) => {
        if (used === choices.length) {
          choices.push(0);
          sizes.push(count);
        }
        return choices[used++]!;
      },
    });
    expected += cost / sizes.reduce((product, size) => product * size, 1);
    while (choices.length > 0 && choices.at(-1)! + 1 === sizes.at(-1)!) {
      choices.pop();
      sizes.pop();
    }
    if (choices.length === 0) return expected;
    choices[choices.length - 1]!++;
  }
}
