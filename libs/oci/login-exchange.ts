import { type Clock, systemClock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { readChallenge, type TokenChallenge, tokenPath } from "./challenge.ts";
import { HttpExchange, type HttpRequest, type HttpResponse } from "./http-exchange.ts";
import { readAnswer, readBytes } from "./registry-answer.ts";

/** An account of a registry. */
export interface RegistryLogin {
  readonly user: string;
  readonly password: string;
}

interface Token {
  readonly text: string;
  readonly challenge: TokenChallenge;
  /** When to get another, on the monotonic clock: well before it expires. */
  readonly renewAtMs: number;
}

interface LoginExchangeOptions {
  /** The registry's. */
  readonly url: URL;
  readonly login: RegistryLogin;
  readonly clock?: Clock | undefined;
}

const MAX_TOKEN_BYTES = 65_536;
/** What a token lasts that does not say it (Docker's token specification). */
const DEFAULT_SECONDS = 60;

/** Speaks with a registry as an account of it: gets a token where it is asked for one, and another before that ends. */
export class LoginExchange {
  readonly #http: HttpExchange;
  readonly #url: URL;
  readonly #login: RegistryLogin;
  readonly #clock: Clock;
  readonly #tokens = new Map<string, Promise<Token>>();

  constructor(http: HttpExchange, { url, login, clock = systemClock }: LoginExchangeOptions) {
    this.#http = http;
    this.#url = url;
    this.#login = login;
    this.#clock = clock;
  }

  /** As that of HttpExchange. @throws StillpointError REGISTRY_LOGIN */
  async exchange<Result>(wanted: HttpRequest, read: (response: HttpResponse) => Promise<Result>): Promise<Result> {
    const key = keyOf(wanted);
    const orChallenge = async (answer: HttpResponse): Promise<{ result: Result } | { challenge: string }> =>
      answer.status === 401 ? challengeOf(answer) : { result: await read(answer) };
    const first = await this.#http.exchange(withToken(wanted, await this.#current(key)), orChallenge);
    if ("result" in first) return first.result;
    const challenge = readChallenge(first.challenge, this.#url);
    if (challenge === undefined) throw refused(this.#url, "asks for a login of a kind that is not known");
    return await this.#http.exchange(withToken(wanted, await this.#renew(key, challenge)), read);
  }

  close(): void {
    this.#http.close();
  }

  async #current(key: string): Promise<Token | undefined> {
    const token = await this.#tokens.get(key);
    if (token === undefined || this.#clock.monotonicMs() < token.renewAtMs) return token;
    return await this.#renew(key, token.challenge, token);
  }

  /** Those who come meanwhile wait for the same token. */
  async #renew(key: string, challenge: TokenChallenge, old?: Token): Promise<Token> {
    const current = this.#tokens.get(key);
    if (old !== undefined && current !== undefined && (await current) !== old) return await current;
    const token = this.#fetch(challenge);
    this.#tokens.set(key, token);
    token.catch(() => this.#tokens.delete(key));
    return await token;
  }

  async #fetch(challenge: TokenChallenge): Promise<Token> {
    const http = new HttpExchange(challenge.realm.origin, { connections: 1, clock: this.#clock });
    const { user, password } = this.#login;
    const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
    const wanted = { method: "GET", path: tokenPath(challenge), headers: { authorization } } as const;
    try {
      const bytes = await http.exchange(wanted, (answer) => readAnswer(answer, (it) => readToken(it, this.#url)));
      const { token, access_token, expires_in = DEFAULT_SECONDS }: TokenAnswer = JSON.parse(bytes.toString());
      const text = token ?? access_token;
      if (text === undefined) throw refused(this.#url, "gave no token");
      return { text, challenge, renewAtMs: this.#clock.monotonicMs() + expires_in * 750 };
    } finally {
      http.close();
    }
  }
}

interface TokenAnswer {
  readonly token?: string;
  readonly access_token?: string;
  readonly expires_in?: number;
}

async function readToken(answer: HttpResponse, url: URL): Promise<Buffer> {
  if (answer.status === 429) throw refused(url, "has seen too many failed logins");
  if (answer.status !== 200) throw refused(url, `refused the login with ${answer.status}`);
  return await readBytes(answer, MAX_TOKEN_BYTES);
}

function challengeOf({ headers, body }: HttpResponse): { readonly challenge: string } {
  body.resume();
  return { challenge: headers["www-authenticate"] ?? "" };
}

/** A token is for one repository and one kind of action. */
function keyOf({ method, path }: HttpRequest): string {
  const [, repository = ""] = /^\/v2\/(.+)\/(?:blobs|manifests|referrers|tags)\//.exec(path) ?? [];
  if (method === "DELETE") return `delete ${repository}`;
  return method === "GET" || method === "HEAD" ? `pull ${repository}` : `push ${repository}`;
}

function withToken(wanted: HttpRequest, token: Token | undefined): HttpRequest {
  if (token === undefined) return wanted;
  return { ...wanted, headers: { ...wanted.headers, authorization: `Bearer ${token.text}` } };
}

function refused(url: URL, what: string): StillpointError {
  return new StillpointError("REGISTRY_LOGIN", `the registry at ${url.host} ${what}`);
}
