import { InvalidArgumentError } from "commander";

/** One variable; without a value it is taken from the command's own environment. */
export interface Variable {
  readonly name: string;
  readonly value?: string;
}

/** `NAME=VALUE`, or `NAME`. */
export function parseVariable(text: string): Variable {
  const [, name, value] = /^([^=]+)(?:=(.*))?$/s.exec(text) ?? [];
  if (name === undefined) throw new InvalidArgumentError("Write NAME=VALUE, or NAME for the value that it has here.");
  return { name, ...(value === undefined ? {} : { value }) };
}

/** The lines of a file of variables; empty ones and those that begin with # say nothing. */
export function parseVariables(text: string): Variable[] {
  return text
    .split(/\r?\n/)
    .filter((line) => line.trim() !== "" && !line.startsWith("#"))
    .map(parseVariable);
}

/** The variables as an environment, the last of a name wins; what is not set here stays out. */
export function toEnvironment(
  variables: readonly Variable[],
  here: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  return Object.fromEntries(
    variables.flatMap(({ name, value = here[name] }) => (value === undefined ? [] : [[name, value]])),
  );
}
