import { InvalidArgumentError } from "commander";

/** `key=value`, added to those before it. */
export function collectLabel(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const [, key, value] = /^([A-Za-z0-9][\w./-]{0,62})=(.{0,63})$/u.exec(text) ?? [];
  if (key === undefined || value === undefined) throw new InvalidArgumentError("Write key=value, such as tier=web.");
  return { ...before, [key]: value };
}
