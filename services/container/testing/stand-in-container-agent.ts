import type { ExecContainerRequest } from "#contracts/container/v1/container";
import { ContainerAgentDefinition, type ContainerAgentServiceImplementation } from "#contracts/host/v1/container_agent";
import { StillpointError } from "#libs/errors";
import type { CallScope, RpcServer } from "#libs/rpc";

const text = (words: string) => new TextEncoder().encode(words);

/** Answers with what it was asked, so that a test sees what has reached the host. */
export function standInContainerAgent(server: RpcServer): void {
  const service: ContainerAgentServiceImplementation<CallScope> = {
    async *getContainerLogs({ name, tail, follow }) {
      yield { stdout: text(`${name} ${tail} ${follow}\n`) };
      yield { stderr: text("done\n") };
    },
    async *execContainer(messages) {
      for await (const message of messages) {
        yield answer(message);
        if (message.stdinClosed) break;
      }
      yield { exitCode: 7 };
    },
    async *getContainerStats({ name }) {
      yield { cpuMillis: name.startsWith("ctr-") ? 250 : 0, pids: 3 };
    },
  };
  server.add(ContainerAgentDefinition, service);
}

function answer({ start, stdin, resize }: ExecContainerRequest): { stdout?: Uint8Array; stderr?: Uint8Array } {
  if (start?.command[0] === "missing") throw new StillpointError("COMMAND_NOT_FOUND", "there is no missing");
  if (start !== undefined) return { stdout: text(`${start.name} ${start.command.join(" ")}\n`) };
  return resize === undefined ? { stdout: stdin } : { stderr: text(`${resize.rows}x${resize.columns}\n`) };
}
