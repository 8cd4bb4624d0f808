import { expect, it } from "vitest";
import fc from "fast-check";
import { TextStream, type TokenText } from "./text-stream.ts";

/** A model whose token i has the bytes pieces[i]; token 0 is BOS. */
function model(pieces: readonly Uint8Array[], addsSpacePrefix = true): TokenText {
  return { bosToken: 0, addsSpacePrefix, tokenBytes: (token) => pieces[token] ?? new Uint8Array() };
}

const bytes = (text: string) => new TextEncoder().encode(text);

it("takes the space off that the vocabulary put before the first word, after BOS alone", () => {
  const pieces = [bytes(""), bytes(" Once"), bytes(" upon")];
  const run = (stream: TextStream) => stream.push(1) + stream.push(2) + stream.flush();
  expect(run(new TextStream(model(pieces), 0))).toBe("Once upon");
  expect(run(new TextStream(model(pieces), 2))).toBe(" Once upon");
  expect(run(new TextStream(model(pieces)))).toBe(" Once upon");
  expect(run(new TextStream(model(pieces, false), 0))).toBe(" Once upon");
});

it("takes one space off, even if a control token comes first", () => {
  const stream = new TextStream(model([bytes(""), bytes("  a"), bytes("")]), 0);
  expect([stream.push(2), stream.push(1), stream.push(1)]).toEqual(["", " a", "  a"]);
});

it("never gives half a character, and in the end all that the tokens say", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.array(fc.nat(20)), (text, cuts) => {
      const whole = bytes(text);
      const pieces: Uint8Array[] = [bytes("")];
      for (let at = 0, i = 0; at < whole.length; i++) {
        const next = Math.min(whole.length, at + (cuts[i] ?? 1));
        pieces.push(whole.subarray(at, next));
        at = next;
      }
      const stream = new TextStream(model(pieces));
      let out = "";
      for (let token = 1; token < pieces.length; token++) {
        const part = stream.push(token);
        expect(() => encodeURIComponent(part)).not.toThrow(); // as it would on half a surrogate pair
        out += part;
      }
      expect(out + stream.flush()).toBe(text);
    }),
  );
});

it("marks bytes that are no UTF-8", () => {
  const stream = new TextStream(model([Uint8Array.of(0xff), Uint8Array.of(0xe4, 0xbd), bytes("x")]));
  expect(stream.push(0)).toBe("�");
  expect(stream.push(1)).toBe("");
  expect(stream.push(2)).toBe("�x");
  expect(stream.push(1)).toBe("");
  expect(stream.flush()).toBe("�");
});
