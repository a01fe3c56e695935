/** Who may say and hear what in NATS, decided when a client connects. */

export { answerCallouts, type CalloutDeps, type Decision } from "./answer-callouts.ts";
export { Issuer } from "./issuer.ts";
