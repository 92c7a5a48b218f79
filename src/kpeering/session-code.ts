/** What a pod needs once there is a laptop, and an idle one does without: it is loaded (zod with it) at the first connection. */
export { answerAssociation } from '../forwarder/answer-association.ts';
export { answerDial } from '../forwarder/answer.ts';
export { acceptSession } from '../tunnel/session.ts';
