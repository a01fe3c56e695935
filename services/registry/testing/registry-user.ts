import { type IncomingHttpHeaders, type OutgoingHttpHeaders, request as startRequest } from "node:http";
import { buffer } from "node:stream/consumers";

export interface UserRequest {
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: Uint8Array | string;
}

export interface UserResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The first error's code; empty where there is none. */
  readonly code: string;
}

/** The public conformance suite keeps a token for each of these, and asks for another where it does not do. */
const KINDS: Readonly<Record<string, string>> = { GET: "pull", HEAD: "pull", POST: "push", PATCH: "push", PUT: "push" };

/** A client of the OCI API with a login: it gets a token where it is asked for one, as every client does; for tests. */
export class RegistryUser {
  readonly url: string;
  readonly #login: { readonly authorization: string };
  readonly #tokens = new Map<string, string>();

  constructor(url: string, login: { readonly name: string; readonly secret: string }) {
    this.url = url;
    this.#login = basicLogin(login.name, login.secret);
  }

  /** Sends a request; `path` goes out as it is, also what a browser would make tidy. */
  async send(method: string, path: string, options: UserRequest = {}): Promise<UserResponse> {
    const repository = /^\/v2\/(.*?)\/(?:manifests|blobs|tags|referrers)\//.exec(path)?.[1];
    const key = `${repository} ${KINDS[method] ?? method}`;
    const first = await sendOnce(this.url, method, path, withToken(options, this.#tokens.get(key)));
    if (first.status !== 401) return first;
    const token = await this.token(first.headers["www-authenticate"] ?? "");
    this.#tokens.set(key, token);
    return await sendOnce(this.url, method, path, withToken(options, token));
  }

  /** A token for what a challenge names. */
  async token(challenge: string): Promise<string> {
    const part = (name: string) => new RegExp(`${name}="([^"]*)"`).exec(challenge)?.[1];
    const realm = new URL(part("realm") ?? "");
    realm.searchParams.set("service", part("service") ?? "");
    const scope = part("scope");
    if (scope !== undefined) realm.searchParams.set("scope", scope);
    const answer = await sendOnce(realm.origin, "GET", `${realm.pathname}${realm.search}`, { headers: this.#login });
    if (answer.status !== 200) throw new Error(`no token: ${answer.status} ${answer.body.toString()}`);
    return JSON.parse(answer.body.toString()).token;
  }
}

/** The header that logs in without a token. */
export function basicLogin(name: string, secret: string): { readonly authorization: string } {
  return { authorization: `Basic ${Buffer.from(`${name}:${secret}`).toString("base64")}` };
}

/** One request as it is, without a login. */
export async function sendOnce(
  url: string,
  method: string,
  path: string,
  { headers = {}, body }: UserRequest = {},
): Promise<UserResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<UserResponse>();
  const { hostname, port } = new URL(url);
  const length =
    body === undefined || "transfer-encoding" in headers ? {} : { "content-length": Buffer.byteLength(body) };
  const options = { hostname, port, method, path, headers: { ...length, ...headers } };
  const outgoing = startRequest(options, (answer) => {
    buffer(answer).then((bytes) => {
      const { statusCode: status = 0, headers: received } = answer;
      resolve({ status, headers: received, body: bytes, code: codeOf(bytes) });
    }, reject);
  });
  outgoing.on("error", reject);
  outgoing.end(body);
  return await promise;
}

function withToken(options: UserRequest, token: string | undefined): UserRequest {
  if (token === undefined) return options;
  return { ...options, headers: { ...options.headers, authorization: `Bearer ${token}` } };
}

function codeOf(bytes: Buffer): string {
  try {
    return JSON.parse(bytes.toString()).errors[0].code;
  } catch {
    return "";
  }
}
