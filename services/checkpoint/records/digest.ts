import { createHash } from "node:crypto";

/** sha256:<hex> of a text in UTF-8. */
export const sha256 = (text: string): string => `sha256:${createHash("sha256").update(text).digest("hex")}`;
