import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StopStrings } from "./stop-strings.ts";

/** Reads the text one character more at a time: the naive way. */
function naive(text: string, stops: readonly string[]): { text: string; stopped: boolean } {
  for (let end = 1; end <= text.length; end++) {
    const met = stops.filter((stop) => text.slice(0, end).endsWith(stop)).map((stop) => stop.length);
    if (met.length > 0) return { text: text.slice(0, end - Math.max(...met)), stopped: true };
  }
  return { text, stopped: false };
}

// Few letters, so that stop strings overlap one another and the text.
const letters = (maxLength: number) => fc.string({ unit: fc.constantFrom("a", "b", "é", "😀"), maxLength });
const stops = fc.array(
  letters(4).filter((s) => s !== ""),
  { maxLength: 4 },
);

describe("StopStrings", () => {
  it("cuts where the naive reading does, whatever the pieces", () => {
    fc.assert(
      fc.property(fc.array(letters(6), { maxLength: 12 }), stops, (pieces, stopStrings) => {
        const expected = naive(pieces.join(""), stopStrings);
        const matcher = new StopStrings(stopStrings);
        let out = "";
        for (const piece of pieces) {
          out += matcher.push(piece);
          // Nothing is given out that a stop string could still take back.
          expect(expected.text.startsWith(out)).toBe(true);
        }
        const stopped = matcher.stopped;
        out += matcher.flush();
        expect({ text: out, stopped }).toEqual(expected);
      }),
      { numRuns: 2000 },
    );
  });

  it("holds back no more than it must", () => {
    const matcher = new StopStrings(["END"]);
    expect(matcher.push("the E")).toBe("the ");
    expect(matcher.push("N")).toBe("");
    expect(matcher.push("x")).toBe("ENx");
    expect(matcher.push("EN")).toBe("");
    expect(matcher.push("D and more")).toBe("");
    expect(matcher.stopped).toBe(true);
    expect(matcher.flush()).toBe("");
  });
});
