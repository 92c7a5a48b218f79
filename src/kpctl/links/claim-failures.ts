import { holderSchema, notCapturedSchema, type ClaimTarget, type Holder, type NotCaptured } from '../../claims/messages.ts';
import { Failure, messageOf } from '../../platform/errors.ts';
import { RequestError } from '../../tunnel/index.ts';
import { shortTarget, targetLabel } from './targets.ts';

/** The holder in a `held` answer, or undefined for any other error. */
export function holderOf(error: unknown): Holder | undefined {
  if (!(error instanceof RequestError) || error.code !== 'held') return undefined;
  const parsed = holderSchema.safeParse(error.details);
  return parsed.success ? parsed.data : undefined;
}

/** `bob@build-3 (API user "bob") since 14:03`. */
export function describeHolder(holder: Holder): string {
  const user = holder.user === undefined ? '' : ` (API user "${holder.user}")`;
  return `${holder.name}${user} since ${holder.since}`;
}

/** Why a claim was refused, as a Failure: PORT_HELD, PORT_NOT_CAPTURED, CLAIM_REFUSED, or TUNNEL_LOST when it was not answered. */
export function claimFailure(pod: string, target: ClaimTarget, error: unknown): Failure {
  const what = `${targetLabel(target)} of pod ${pod}`;
  const holder = holderOf(error);
  if (holder !== undefined) {
    return new Failure('PORT_HELD', `${what} is claimed by ${describeHolder(holder)}`, {
      ...(holder.away === true
        ? { likely: 'that laptop is not connected now', remedy: 'try again in ten seconds: the claim ends unless it comes back' }
        : { remedy: 'ask them to leave; "kpctl list" shows all claims' }),
      cause: error,
    });
  }
  if (error instanceof RequestError && error.code === 'port-not-captured') return notCapturedFailure(what, target, error);
  if (error instanceof RequestError && error.code !== 'lost') {
    return new Failure('CLAIM_REFUSED', `pod ${pod} refused the claim of ${targetLabel(target)}: ${error.message}`, { cause: error });
  }
  return new Failure('TUNNEL_LOST', `the tunnel to pod ${pod} was lost while claiming ${targetLabel(target)}: ${messageOf(error)}`, {
    cause: error,
  });
}

function notCapturedFailure(what: string, target: ClaimTarget, error: RequestError): Failure {
  const parsed = notCapturedSchema.safeParse(error.details);
  const captured = parsed.success ? parsed.data : undefined;
  return new Failure('PORT_NOT_CAPTURED', `${what} is not captured by the pod's rules`, {
    likely: captured === undefined ? error.message : describeCaptured(target, captured),
    remedy: howToCapture(target, captured),
    cause: error,
  });
}

/** `in redirect mode it captures TCP 80, 8000-8080`. */
function describeCaptured(target: ClaimTarget, captured: NotCaptured): string {
  const listOf = (entries: readonly string[]): string => (entries.length === 0 ? 'none' : entries.join(', ').replaceAll('*', 'all'));
  if (target.address !== undefined) return `captured outbound ports: ${listOf(captured.outbound)}`;
  return `captured ports in ${captured.mode} mode: TCP ${listOf(captured.tcp)}; UDP ${listOf(captured.udp)}`;
}

/** Which variable of the init container has to change; what lets the port be captured otherwise already must be excluded by name. */
function howToCapture(target: ClaimTarget, captured: NotCaptured | undefined): string {
  const { protocol, port, address } = target;
  const where = "of the pod template's kpeering init container";
  if (address !== undefined) {
    return captured !== undefined && covers(captured.outbound, port)
      ? `look at KPEERING_OUTBOUND_CIDRS and the KPEERING_EXCLUDE_OUTBOUND_ variables ${where}: ${shortTarget(target)} is left out there`
      : `add ${port} to KPEERING_OUTBOUND_PORTS ${where}, and wait for the rollout`;
  }
  if (captured !== undefined && covers(captured[protocol], port)) {
    return `take ${port} out of KPEERING_EXCLUDE_INBOUND_PORTS ${where}, and wait for the rollout`;
  }
  if (protocol === 'udp') {
    const mode =
      captured?.mode === 'redirect' ? 'UDP needs KPEERING_MODE=tproxy (nft, and a kernel that takes tproxy rules): set it, and ' : '';
    return `${mode}add ${port} to KPEERING_INBOUND_UDP_PORTS ${where}, and wait for the rollout`;
  }
  return `add ${port} to KPEERING_INBOUND_PORTS ${where}, and wait for the rollout`;
}

function covers(entries: readonly string[], port: number): boolean {
  return entries.some((entry) => {
    const [first = '', last = first] = entry.split('-');
    return entry === '*' || (port >= Number(first) && port <= Number(last));
  });
}
