/** The words of a shell's command line; the last one is what is being written, '' behind a space. Quotes that are still open are taken as closed. */
export function splitLine(line: string): string[] {
  const words: string[] = [];
  let word = '';
  let begun = false;
  let quote = '';
  for (let index = 0; index < line.length; index += 1) {
    const character = line[index] ?? '';
    if (quote === '' && /\s/.test(character)) {
      if (begun) words.push(word);
      word = '';
      begun = false;
      continue;
    }
    begun = true;
    if (character === '\\' && quote !== "'") word += line[(index += 1)] ?? '';
    else if (character === quote) quote = '';
    else if (quote === '' && (character === '"' || character === "'")) quote = character;
    else word += character;
  }
  return [...words, word];
}
