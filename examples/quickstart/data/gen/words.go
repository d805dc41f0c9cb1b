package main

// script is a stock of names in one script. What they have in common is that a byte-wise search for the name, as it
// stands here, would find it in any file that holds it in the clear.
type script struct {
	given, family []string
	between       string
}

var scripts = []script{
	{[]string{"Amelia", "Rosalind", "Gwendolyn", "Theodore", "Maximilian"}, []string{"Featherstone", "O'Brien-Kelly", "d'Arcy", "Lovelace", "St. John"}, " "},
	{[]string{"Jürgen", "Åse", "Zoë", "Łukasz", "Željka", "Iñaki", "Þóra"}, []string{"Müller-Lüdenscheidt", "Ångström", "Đorđević", "Ñuñoa", "Şahin", "Jónsdóttir"}, " "},
	{[]string{"Анна", "Дмитрий", "Олександра", "Юлия"}, []string{"Каренина", "Достоевский", "Щербаківська", "Ёлкин"}, " "},
	{[]string{"Ελένη", "Αλέξανδρος", "Ιφιγένεια"}, []string{"Παπαδοπούλου", "Καζαντζάκης", "Θεοδωράκης"}, " "},
	{[]string{"王小", "欧阳", "司马", "諸葛"}, []string{"明德", "娜娜", "相如", "孔明"}, ""},
	{[]string{"さくら", "たけし", "ひろみ"}, []string{"山田", "小鳥遊", "勅使河原"}, " "},
	{[]string{"서연", "민준", "지우"}, []string{"김", "황보", "제갈", "남궁"}, " "},
	{[]string{"فاطمة", "عبد الرحمن", "نور"}, []string{"الزهراء", "ابن خلدون", "المتنبي"}, " "},
	{[]string{"שרה", "אברהם", "יעל"}, []string{"בן־גוריון", "רבינוביץ'", "לוי־מזרחי"}, " "},
	{[]string{"आरती", "विक्रमादित्य", "श्रीनिवास"}, []string{"शर्मा", "चट्टोपाध्याय", "त्रिवेदी"}, " "},
	{[]string{"கண்ணகி", "வள்ளுவர்"}, []string{"இளங்கோ", "சுப்பிரமணியம்"}, " "},
	{[]string{"สมชาย", "มาลี"}, []string{"ศรีสุวรรณ", "วงศ์สวัสดิ์"}, " "},
	{[]string{"ნინო", "შოთა"}, []string{"ჭავჭავაძე", "რუსთაველი"}, " "},
	{[]string{"Անահիտ", "Տիգրան"}, []string{"Խաչատրյան", "Սարոյան"}, " "},
	{[]string{"አበበ", "ትርሲት"}, []string{"በቂላ", "ገብረመድኅን"}, " "},
	{[]string{"Nguyễn Thị", "Trần Đức"}, []string{"Minh Khai", "Thảo Nguyên"}, " "},
	{[]string{"Jose\u0301", "Zoe\u0308"}, []string{"Nu\u0301n\u0303ez", "Bro\u0308nte"}, " "}, // decomposed: combining marks
}

// awkward names try what badly made software stumbles over.
var awkward = []string{
	`Robert'); DROP TABLE patients;--`, `Anne "Annie" de la O`, "Line\nBreak", `Back\slash $1 ?1 :x`, "Comma, Semicolon; Tab\t", "100% _Wild_",
	"Zero\u200bWidth", "Right\u202eLeft", "🦊 Fuchs-Žižek", "<b>Bold</b> & Sons", "{{.Name}} ${jndi}", "NULL Null-Nullson", "ﬁ Ligature", "İstanbul Iı",
}

var insurers = []string{"Helvetia Mutual", "Wayfarers' Sick Fund", "Northern Provident", "Guild of St. Luke"}

var departments = []string{"CARD", "DERM", "NEUR", "PAED", "ONCO"}

var findings = []string{
	"Sinus rhythm, no murmur", "Erythema, not progressing", "Reflexes brisk and symmetrical", "Growth on the 40th percentile",
	"Biopsy clear at all margins", "HIV antibodies: negative", "Depressive episode, moderate", "Pregnancy, 14th week",
}

var remarks = []string{
	`Patient says: "It hurts when I laugh."`, "Allergic to penicillin; carries an adrenaline pen.", "Smokes a pack a day, has done since '84.",
	"Lives alone, sister visits on Sundays.", "Blutdruck 150/95, wiederholte Messung nötig.", "服用阿司匹林,每日一次。", "Назначено повторное обследование.",
	"Refuses the flu shot \u2014 discussed, will ask again.", "Weight 71,3 kg; height 1.68 m; BMI 25.", "Travelled to the tropics in March. Fever since.",
	"Lost the referral letter (\"dog ate it\").", "L'épreuve d'effort est prévue pour mardi.", "تمت مراجعة الأدوية.", "Prescribed 5 mg, to be reviewed in six weeks.",
}
