import { freePort } from "./free-port.ts";

/** Where a process of a cluster runs, and is reached. */
export interface Place {
  /** An IP address, which no other process needs to know the place of. */
  readonly address: string;
  /** The command line that runs this one there. */
  command(argv: readonly string[]): string[];
  /** A port that nobody listens on there. */
  freePort(): Promise<number>;
}

/** This machine, on the address that only it reaches. */
export const loopback: Place = {
  address: "127.0.0.1",
  command: (argv) => [...argv],
  freePort,
};
