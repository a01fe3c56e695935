import { InvalidArgumentError } from "commander";
import type { Terminal } from "../terminal.ts";

export const formats = ["table", "json", "yaml"] as const;
export type Format = (typeof formats)[number];

export function parseFormat(text: string): Format {
  const format = formats.find((each) => each === text);
  if (format === undefined) throw new InvalidArgumentError("It is table, json or yaml.");
  return format;
}

/** An answer: the ProtoJSON of the API's message, and how people see it. */
export interface Answer {
  readonly json: unknown;
  table(): string;
}

/** Prints one answer as one document. */
export async function printAnswer(terminal: Terminal, format: Format, answer: Answer): Promise<void> {
  if (format === "json") terminal.out(`${JSON.stringify(answer.json, null, 2)}\n`);
  else if (format === "yaml") terminal.out(await toYaml(answer.json));
  else terminal.out(ended(answer.table()));
}

/** Prints one of many answers in a stream: a line of JSON, a YAML document, or a line for people. */
export async function printItem(terminal: Terminal, format: Format, answer: Answer): Promise<void> {
  if (format === "json") terminal.out(`${JSON.stringify(answer.json)}\n`);
  else if (format === "yaml") terminal.out(`---\n${await toYaml(answer.json)}`);
  else terminal.out(ended(answer.table()));
}

export async function toYaml(json: unknown): Promise<string> {
  const { stringify } = await import("yaml");
  return stringify(json);
}

const ended = (text: string): string => (text === "" || text.endsWith("\n") ? text : `${text}\n`);
