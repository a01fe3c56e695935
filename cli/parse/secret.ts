import { InvalidArgumentError } from "commander";

export interface SecretFile {
  readonly name: string;
  readonly file: string;
}

/** `NAME=FILE`: a secret never stands on a command line, where every process of the machine can read it. */
export function parseSecret(text: string): SecretFile {
  const [, name, file] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
  if (name === undefined || file === undefined) {
    throw new InvalidArgumentError("Write NAME=FILE; the file holds the secret.");
  }
  return { name, file };
}
