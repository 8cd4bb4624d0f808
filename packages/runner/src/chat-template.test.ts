import { expect, it } from "vitest";
import { ChatTemplate, requireMessages, type ChatMessage } from "./chat-template.ts";

const tokens = { bos: "<s>", eos: "</s>" };
const messages: ChatMessage[] = [
  { role: "user", content: "Hi" },
  { role: "assistant", content: "Hello" },
];

it("renders with the messages, the special tokens and the generation prompt", () => {
  const template = new ChatTemplate(
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m['content'] | trim }}{{ eos_token }}{% endfor %}" +
      "{% if add_generation_prompt %}[assistant]{% endif %}",
    tokens,
  );
  expect(template.render(messages, true)).toBe("<s>[user]Hi</s>[assistant]Hello</s>[assistant]");
  expect(template.render(messages, false)).toBe("<s>[user]Hi</s>[assistant]Hello</s>");
});

it("passes the template's own refusal on", () => {
  const template = new ChatTemplate("{{ raise_exception('roles must alternate') }}", tokens);
  expect(() => template.render(messages, true)).toThrow(
    expect.objectContaining({
      code: "KVPAGE_CHAT_TEMPLATE",
      message: expect.stringContaining("roles must alternate"),
    }),
  );
});

it("refuses a template that does not parse, with the parser's message", () => {
  expect(() => new ChatTemplate("{% for %}", tokens)).toThrow(
    expect.objectContaining({
      code: "KVPAGE_CHAT_TEMPLATE",
      message: expect.stringContaining("cannot be parsed"),
    }),
  );
});

it("knows what templates call: raise_exception, strftime_now, range, namespace", () => {
  const source =
    "{% set ns = namespace(n=0) %}{% for i in range(3) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }} " +
    "{{ strftime_now('%Y-%m-%d') }}{% if tools %}x{% endif %}{% if tools is defined %}y{% endif %}";
  expect(new ChatTemplate(source, tokens).render([], false)).toMatch(/^3 \d{4}-\d\d-\d\d$/);
});

it.each([
  ["messages", "no array"],
  ["messages[1].role", [messages[0], { content: "x" }]],
  ["messages[0].content", [{ role: "user", content: 3 }]],
  ["messages[0].role", [null]],
])("names %s when it is malformed", (field, value) => {
  expect(() => requireMessages(value as ChatMessage[])).toThrow(
    expect.objectContaining({
      code: "KVPAGE_INVALID_ARGUMENT",
      message: expect.stringContaining(`${field} is`),
    }),
  );
});
