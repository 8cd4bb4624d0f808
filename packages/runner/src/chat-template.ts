import { Template } from "@huggingface/jinja";
import { invalidArgument, RunnerError } from "./errors.ts";

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

/** Renders conversations with the Jinja template that a model file brings. */
export class ChatTemplate {
  readonly #template: Template;
  readonly #variables: Record<string, unknown>;

  /** @throws RunnerError KVPAGE_CHAT_TEMPLATE if the source does not parse. */
  constructor(source: string, tokens: { readonly bos: string; readonly eos: string }) {
    try {
      this.#template = new Template(source);
    } catch (cause) {
      throw templateError("the model's chat template cannot be parsed", cause);
    }
    this.#variables = { bos_token: tokens.bos, eos_token: tokens.eos };
  }

  /** @throws RunnerError KVPAGE_CHAT_TEMPLATE with the template's own message. */
  render(messages: readonly ChatMessage[], addGenerationPrompt: boolean): string {
    try {
      return this.#template.render({
        ...this.#variables,
        messages,
        add_generation_prompt: addGenerationPrompt,
      });
    } catch (cause) {
      throw templateError("the model's chat template refused the messages", cause);
    }
  }
}

/** @throws RunnerError KVPAGE_INVALID_ARGUMENT */
export function requireMessages(messages: readonly ChatMessage[]): void {
  if (!Array.isArray(messages)) throw invalidArgument("messages", messages, "an array");
  for (const [i, message] of (messages as readonly Partial<ChatMessage>[]).entries()) {
    if (typeof message?.role !== "string") {
      throw invalidArgument(`messages[${i}].role`, message?.role, "a string");
    }
    if (typeof message.content !== "string") {
      throw invalidArgument(`messages[${i}].content`, message.content, "a string");
    }
  }
}

function templateError(what: string, cause: unknown): RunnerError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new RunnerError("KVPAGE_CHAT_TEMPLATE", `${what}: ${why}`, { cause });
}
