import type { Container } from "#contracts/container/v1/container";
import type { Logger } from "#libs/logger";
import type { RecordStore, RecordView } from "#libs/records";
import type { SecretKeys } from "#libs/secrets";
import { resealSecrets } from "./sealed-secrets.ts";

export interface ResealDeps {
  readonly records: Pick<RecordStore<Container>, "modify">;
  readonly view: Pick<RecordView<Container>, "list">;
  readonly secretKeys: SecretKeys | undefined;
  readonly logger: Logger;
}

/** Seals with the first key what another has sealed, so that that one can go. */
export async function resealAll({ records, view, secretKeys, logger }: ResealDeps): Promise<void> {
  if (secretKeys === undefined) return;
  for (const { name, body: listed } of view.list("projects/")) {
    try {
      if (resealSecrets(secretKeys, listed) === undefined) continue;
      await records.modify(name, ({ body }) => {
        const resealed = resealSecrets(secretKeys, body);
        return resealed && { body: resealed };
      });
      logger.info({ container: name }, "its secrets are sealed with another key now");
    } catch (error) {
      logger.error({ err: error, container: name }, "its secrets stay sealed as they are");
    }
  }
}
