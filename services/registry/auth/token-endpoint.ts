import type { IncomingMessage, ServerResponse } from "node:http";
import { may, type Principal } from "#libs/auth";
import type { Clock } from "#libs/clock";
import { isRepository } from "#libs/oci";
import { OciError } from "../domain/oci-error.ts";
import { parseScopes, type Scope, scopeText } from "../domain/scope.ts";
import { readCredentials } from "./challenge.ts";
import type { Login, Logins } from "./logins.ts";
import { verbOf } from "./rights.ts";
import { SERVICE, TOKEN_SECONDS, type Tokens } from "./tokens.ts";

export interface TokenEndpointDeps {
  readonly logins: Pick<Logins, "check">;
  readonly tokens: Pick<Tokens, "issue">;
  readonly clock: Clock;
}

/** Answers GET and POST of /token. */
export type TokenEndpoint = (
  request: IncomingMessage,
  response: ServerResponse,
  query: URLSearchParams,
) => Promise<void>;

const MAX_FORM_BYTES = 65_536;

/** Docker's token endpoint: GET with name and secret in `Authorization`, POST with the form of OAuth 2.0. */
export function tokenEndpoint(deps: TokenEndpointDeps): TokenEndpoint {
  return async (request, response, query) => {
    const form = request.method === "POST" ? await readForm(request) : query;
    const login = request.method === "POST" ? formLogin(form) : headerLogin(request);
    if (form.get("service") !== null && form.get("service") !== SERVICE) throw invalid("there is no such service");
    const account = await deps.logins.check(login);
    const scopes = grantedScopes(account.principal, parseScopes(form.getAll("scope")));
    const token = await deps.tokens.issue(login.name, account, scopes);
    const body = {
      token,
      access_token: token,
      token_type: "Bearer",
      expires_in: TOKEN_SECONDS,
      issued_at: deps.clock.now().toISOString(),
      scope: scopes.map(scopeText).join(" "),
    };
    const bytes = Buffer.from(JSON.stringify(body));
    const headers = { "content-type": "application/json", "cache-control": "no-store", "content-length": bytes.length };
    response.writeHead(200, headers).end(bytes);
  };
}

/** What of it the principal may do; a client is told by what its token lacks. */
function grantedScopes(principal: Principal, asked: readonly Scope[]): Scope[] {
  return asked.flatMap((scope) => {
    if (scope.type === "registry" && scope.name === "catalog") return [scope];
    if (scope.type !== "repository" || !isRepository(scope.name)) return [];
    const wanted = scope.actions.includes("*") ? ["pull", "push", "delete"] : scope.actions;
    const actions = wanted.filter((action) => {
      const verb = verbOf(action);
      return verb !== undefined && may(principal, verb, `repositories/${scope.name}`);
    });
    return actions.length === 0 ? [] : [{ ...scope, actions }];
  });
}

function headerLogin(request: IncomingMessage): Login {
  const credentials = readCredentials(request);
  if (credentials?.kind === "basic") return credentials.login;
  const headers = { "www-authenticate": `Basic realm="${SERVICE}"` };
  throw new OciError("UNAUTHORIZED", "a name and a password are needed", { headers });
}

function formLogin(form: URLSearchParams): Login {
  if (form.get("grant_type") !== "password") throw invalid("only the grant type password is known");
  return { name: form.get("username") ?? "", secret: form.get("password") ?? "" };
}

async function readForm(request: IncomingMessage): Promise<URLSearchParams> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size > MAX_FORM_BYTES) throw invalid("the form is too long");
    pieces.push(piece);
  }
  return new URLSearchParams(Buffer.concat(pieces).toString());
}

function invalid(message: string): OciError {
  return new OciError("UNSUPPORTED", message, { status: 400 });
}
