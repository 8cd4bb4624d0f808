import type { TokenText } from "@kvpage/runner";
import type { AnswerPart } from "./answer.ts";

/** A token's text where it has one of its own; else its bytes, as OpenAI writes them. */
function tokenString(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return `bytes:${Array.from(bytes, (b) => `\\x${b.toString(16).padStart(2, "0")}`).join("")}`;
  }
}

/** The `logprobs` of a completion. */
export function completionLogprobs(model: TokenText, { tokens }: AnswerPart) {
  const text = (token: number) => tokenString(model.tokenBytes(token));
  return {
    tokens: tokens.map((t) => text(t.token)),
    token_logprobs: tokens.map((t) => t.logprob),
    top_logprobs: tokens.map((t) => {
      const top: Record<string, number> = {};
      // Of tokens with the same text the most probable stays.
      for (const other of t.top) top[text(other.token)] ??= other.logprob;
      return top;
    }),
    text_offset: tokens.map((t) => t.offset),
  };
}

/** The `logprobs` of a chat completion. */
export function chatLogprobs(model: TokenText, { tokens }: AnswerPart) {
  const entry = ({ token, logprob }: { token: number; logprob: number }) => {
    const bytes = model.tokenBytes(token);
    return { token: tokenString(bytes), logprob, bytes: [...bytes] };
  };
  return { content: tokens.map((t) => ({ ...entry(t), top_logprobs: t.top.map(entry) })), refusal: null };
}
