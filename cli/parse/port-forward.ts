import { InvalidArgumentError } from "commander";
import { wholeNumber } from "./whole-number.ts";

export interface PortForward {
  readonly hostPort: number;
  readonly guestPort: number;
}

/** `HOST:GUEST`, both TCP ports. */
export function parsePortForward(text: string): PortForward {
  const [host, guest, ...rest] = text.split(":");
  if (host === undefined || guest === undefined || rest.length > 0) {
    throw new InvalidArgumentError("Write HOST:GUEST, such as 8080:80.");
  }
  const port = wholeNumber(1, 65_535);
  return { hostPort: port(host), guestPort: port(guest) };
}
