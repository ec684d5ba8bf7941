// Returns the texts of a page whose contrast is less than WCAG 2.2 asks for (1.4.3), each with its contrast.
() => {
    const rgba = (color) => {
        const [red, green, blue, alpha = 1] = color.match(/[\d.]+/g).map(Number);
        return color.startsWith("rgb") ? [red / 255, green / 255, blue / 255, alpha] : [red, green, blue, alpha];
    };
    const light = (rgb) => {
        const [red, green, blue] = rgb.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const color = rgba(getComputedStyle(at).backgroundColor);
            if (color[3] === 1) return color.slice(0, 3);
        }
        return matchMedia("(prefers-color-scheme: dark)").matches ? [0.07, 0.07, 0.07] : [1, 1, 1];
    };
    const faint = [];
    for (const element of document.body.querySelectorAll("*")) {
        const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join("");
        if (!(text.trim() || element.value) || !element.checkVisibility()) continue;
        const style = getComputedStyle(element);
        const [one, other] = [light(rgba(style.color).slice(0, 3)), light(behind(element))].sort((a, b) => b - a);
        const contrast = (one + 0.05) / (other + 0.05);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
        if (contrast < (large ? 3 : 4.5)) faint.push(`contrast ${contrast.toFixed(1)}: ${text.trim()}`);
    }
    return faint;
}
