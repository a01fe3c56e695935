import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { eventually } from "#libs/testing";
import { type TestHost, testHost } from "./test-host.ts";

/** An agent in a process of its own, which can be killed and started again on the same data. */
export class AgentProcess {
  readonly host: TestHost;
  readonly #settings: Readonly<Record<string, string>>;
  #kill: (signal: NodeJS.Signals) => void = () => undefined;
  /** The signal that ended it, or its exit code. */
  ended: Promise<string> = Promise.resolve("");

  /** @param settings its environment; AGENT_DATA is needed */
  constructor(settings: Readonly<Record<string, string>> & { readonly AGENT_DATA: string }) {
    this.#settings = settings;
    this.host = testHost(`unix:${join(settings.AGENT_DATA, "agent.sock")}`);
  }

  /** Resolves when it answers. */
  async start(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    const child = spawn(process.execPath, [join(import.meta.dirname, "../main.ts")], {
      env: { ...process.env, ...this.#settings, ...settings },
      stdio: "inherit",
    });
    this.#kill = (signal) => child.kill(signal);
    this.ended = once(child, "exit").then(([code, signal]: unknown[]) => String(signal ?? code));
    await eventually(async () => (await this.host.client.listWorkloads({})).workloads, { deadlineMs: 20_000 });
  }

  /** Sends a signal that does not end it. */
  kill(signal: NodeJS.Signals): void {
    this.#kill(signal);
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.#kill(signal);
    await this.ended;
  }
}
