import { InvalidArgumentError } from "commander";
import { wholeNumber } from "./whole-number.ts";

export interface ContainerPort {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: string;
}

/** `HOST:CONTAINER`, TCP unless it ends in `/udp`. */
export function parseContainerPort(text: string): ContainerPort {
  const [, host, container, protocol = "tcp"] = /^([^:/]+):([^:/]+)(?:\/(tcp|udp))?$/.exec(text) ?? [];
  if (host === undefined || container === undefined) {
    throw new InvalidArgumentError("Write HOST:CONTAINER, such as 8080:80 or 53:53/udp.");
  }
  const port = wholeNumber(1, 65_535);
  return { hostPort: port(host), containerPort: port(container), protocol };
}
