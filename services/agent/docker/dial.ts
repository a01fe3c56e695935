import type { Readable } from "node:stream";
import type Dockerode from "dockerode";

interface Dialled {
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean>>;
  readonly signal: AbortSignal;
}

interface Modem {
  dial(options: object, answer: (error: Error | null, value: unknown) => void): void;
}

/** A GET for an answer that is read as it comes, where the client's own method cannot give one. */
export async function getStream(docker: Dockerode, dialled: Dialled): Promise<Readable> {
  return (await dial(docker, dialled, true)) as Readable;
}

/** A GET that can be given up. */
export async function getJson(docker: Dockerode, dialled: Dialled): Promise<unknown> {
  return await dial(docker, dialled, false);
}

async function dial(docker: Dockerode, { path, query, signal }: Dialled, isStream: boolean): Promise<unknown> {
  const options = {
    ...{ path: `${path}?`, method: "GET", isStream, abortSignal: signal, options: { ...query } },
    statusCodes: { 200: true, 404: "not found", 409: "conflict", 500: "server error" },
  };
  return await new Promise((resolve, reject) => {
    (docker.modem as Modem).dial(options, (error, value) => (error === null ? resolve(value) : reject(error)));
  });
}
