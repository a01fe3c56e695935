import { renderTable } from "./table.ts";

export interface CertificateFacts {
  readonly subject: string;
  readonly names: readonly string[];
  /** RFC 3339 */
  readonly validUntil: string;
  readonly daysLeft: number;
  readonly file: string;
}

export const renderCertificates = (certificates: readonly CertificateFacts[]): string =>
  certificates.length === 0
    ? "No certificates. Begin with: stillpoint cert ca"
    : renderTable(
        ["FOR", "NAMES", "VALID UNTIL", "FILE"],
        certificates.map(({ subject, names, validUntil, daysLeft, file }) => [
          subject,
          names.join(" ") || "-",
          daysLeft < 0 ? "expired" : `${validUntil.slice(0, 10)} (${daysLeft} days)`,
          file,
        ]),
      );
