import { type Reason, StillpointError } from "#libs/errors";
import type { HttpRequest, HttpResponse } from "./http-exchange.ts";

const MAX_ERROR_BYTES = 65_536;

const reasons: Readonly<Record<number, Reason>> = {
  400: "IMAGE_INVALID",
  401: "REGISTRY_LOGIN",
  403: "PERMISSION_DENIED",
  404: "IMAGE_NOT_FOUND",
  413: "IMAGE_TOO_LARGE",
  429: "UNAVAILABLE",
};

/** Lets `read` have an answer, and frees the connection from whatever of the body it left. */
export async function readAnswer<Result>(answer: HttpResponse, read: (answer: HttpResponse) => Promise<Result>) {
  try {
    return await read(answer);
  } catch (error) {
    answer.body.destroy();
    throw error;
  } finally {
    answer.body.resume();
  }
}

/** The whole body. @throws StillpointError IMAGE_CORRUPT when it is longer than `maxBytes` */
export async function readBytes({ body }: HttpResponse, maxBytes: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of body as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size > maxBytes) throw new StillpointError("IMAGE_CORRUPT", `the registry sent more than ${maxBytes} bytes`);
    pieces.push(piece);
  }
  return pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces, size);
}

/** The error for an answer that was not hoped for, in the registry's own words. */
export async function refusal({ method, path }: HttpRequest, answer: HttpResponse): Promise<StillpointError> {
  const words = method === "HEAD" ? "" : describe(await readBytes(answer, MAX_ERROR_BYTES));
  const reason = reasons[answer.status] ?? (answer.status >= 500 ? "UNAVAILABLE" : "INTERNAL");
  const what = `the registry answered ${answer.status} to ${method} ${path.split("?")[0]}`;
  return new StillpointError(reason, words === "" ? what : `${what}: ${words}`);
}

function describe(body: Buffer): string {
  try {
    const { errors }: { errors: { code: string; message: string }[] } = JSON.parse(body.toString());
    return errors.map(({ code, message }) => `${code} ${message}`).join("; ");
  } catch {
    return body.toString("utf8", 0, 200);
  }
}
