// For the tests: every text a person can see whose contrast with what lies behind it is below the limit.
(limit) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = css => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = css; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const over = (top, below) => [0, 1, 2].map(i => (top[i] * top[3] + below[i] * (255 - top[3])) / 255).concat(255);
  const light = c => [0.2126, 0.7152, 0.0722].reduce((sum, part, i) => sum + part * (c[i] / 255 <= 0.04045 ? c[i] / 255 / 12.92 : ((c[i] / 255 + 0.055) / 1.055) ** 2.4), 0);
  const behind = element => {
    const chain = [];
    for (let each = element; each; each = each.parentElement) chain.unshift(rgba(getComputedStyle(each).backgroundColor));
    return chain.reduce((below, top) => over(top, below), rgba(matchMedia("(prefers-color-scheme: dark)").matches ? "#000" : "#fff"));
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement, style = getComputedStyle(element);
    if (!texts.currentNode.data.trim() || !element.checkVisibility({ visibilityProperty: true }) || element.closest(".unseen, .skip, script, style")) continue;
    const below = behind(element), ink = over(rgba(element instanceof SVGElement ? style.fill : style.color), below);
    const [high, low] = [light(ink), light(below)].sort((a, b) => b - a), contrast = (high + 0.05) / (low + 0.05);
    if (contrast < limit) found.push(`${contrast.toFixed(2)} ${texts.currentNode.data.trim().slice(0, 40)} .${element.className}`);
  }
  return found;
}
