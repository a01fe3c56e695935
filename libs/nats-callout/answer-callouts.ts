import type { Msg, NatsConnection } from "@nats-io/transport-node";
import { z } from "zod";
import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";
import { type Issuer, seconds } from "./issuer.ts";

/** What a client may do in NATS. */
export interface Rights {
  /** What the server calls it. */
  readonly user: string;
  /** Subjects, with wildcards. */
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
  /** Then the server ends the connection, and the client asks anew. */
  readonly until: Date;
}

/** A refusal is for the server's log; the client learns nothing of it. */
export type Decision = Rights | { readonly refused: string };

export interface CalloutDeps {
  readonly issuer: Issuer;
  /** `certificate`: PEM of the client's, which the server has checked; undefined when it showed none. */
  readonly decide: (certificate: string | undefined) => Promise<Decision>;
  readonly clock: Clock;
  readonly logger: Logger;
}

const subject = "$SYS.REQ.USER.AUTH";
/** Of the users in the server's configuration who are in no other one. */
const account = "$G";

const question = z.object({
  nats: z.object({
    user_nkey: z.string(),
    server_id: z.object({ id: z.string() }),
    client_tls: z.object({ verified_chains: z.array(z.array(z.string())).optional() }).optional(),
  }),
});
type Question = z.output<typeof question>["nats"];

/**
 * Answers nats-server, which asks who is a client that it does not know by its configuration (`auth_callout`, ADR-26 of
 * NATS), until the connection closes. Each question goes to one of those who answer.
 */
export function answerCallouts(nats: NatsConnection, deps: CalloutDeps): { close(): void } {
  const subscription = nats.subscribe(subject, {
    queue: "callouts",
    callback: (error, message) => {
      if (error !== null) return deps.logger.error({ err: error }, "NATS does not let us tell it who its clients are");
      answer(message, deps).catch((err: unknown) => {
        deps.logger.warn({ err }, "a client of NATS could not be judged; it asks again");
      });
    },
  });
  return { close: () => subscription.unsubscribe() };
}

async function answer(message: Msg, { issuer, decide, clock }: CalloutDeps): Promise<void> {
  const asked = read(message.string());
  const decision = await decide(asked.client_tls?.verified_chains?.[0]?.[0]);
  const now = clock.now();
  const said = "refused" in decision ? { error: decision.refused } : { jwt: grant(issuer, asked, decision, now) };
  const claims = { sub: asked.user_nkey, aud: asked.server_id.id };
  message.respond(issuer.sign({ ...claims, nats: { ...said, type: "authorization_response", version: 2 } }, now));
}

/** Only the server may ask: nobody else has leave to publish there. */
function read(token: string): Question {
  const [, claims = ""] = token.split(".");
  return question.parse(JSON.parse(Buffer.from(claims, "base64url").toString("utf8"))).nats;
}

function grant(issuer: Issuer, asked: Question, { user, publish, subscribe, until }: Rights, now: Date): string {
  const unlimited = { subs: -1, data: -1, payload: -1 };
  const rights = { pub: { allow: publish }, sub: { allow: subscribe }, ...unlimited };
  const claims = { sub: asked.user_nkey, aud: account, name: user, exp: seconds(until) };
  return issuer.sign({ ...claims, nats: { ...rights, type: "user", version: 2 } }, now);
}
